"""HTTP with an absolute deadline: the only door to requests and urllib3."""
