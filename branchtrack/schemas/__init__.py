"""What the API takes and answers, as pydantic models for server, document and client."""
