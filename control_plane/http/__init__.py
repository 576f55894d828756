"""What every view shares: problem+json, strict JSON, paging, preconditions, idempotency keys."""
