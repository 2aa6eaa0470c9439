"""Admission: who may use the fleet now, and who has to wait or come back later."""

from gateway.admission.admission import Admission, Permit
from gateway.admission.gate import AdmissionStats

__all__ = ["Admission", "AdmissionStats", "Permit"]
