"""Model families: each fits a library's model and hands it over as arrays."""
