"""Admission: who may use the fleet now, and who has to wait or come back later."""

from gateway.admission.admission_state import AdmissionStats, StartWait
from gateway.admission.fair_queue import Room
from gateway.admission.permits import Admission, Permit

__all__ = ["Admission", "AdmissionStats", "Permit", "Room", "StartWait"]
