"""One client from accept to close: the flow, its record, and the live sessions of a worker."""
