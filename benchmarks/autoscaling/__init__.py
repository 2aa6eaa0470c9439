"""Goodput for each instance-hour: our autoscaling beside published policies, in a simulated fleet (`make bench-autoscaling`)."""
