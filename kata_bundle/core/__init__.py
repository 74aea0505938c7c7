"""Values and services every room shares. Imports no other room."""
