"""HashiCorp Vault (and OpenBao) as the keeper of the key-encryption key: the transit engine, over HTTP."""
