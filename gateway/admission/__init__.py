"""Admission: who may use the fleet now, and who has to wait or come back later."""

from gateway.admission.admission_state import AdmissionStats
from gateway.admission.permits import Admission, Permit

__all__ = ["Admission", "AdmissionStats", "Permit"]
