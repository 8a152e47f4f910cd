"""What travels over the wire, with examples for the OpenAPI document."""
