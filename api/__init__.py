"""Turnledger: revisioned chat sessions that can be rewound, resumed and billed to the token."""
