"""What a streamed token costs in the gateway, beside other gateways in the same run."""
