"""Events out: customers' endpoints are told what happened, by the Standard Webhooks spec."""
