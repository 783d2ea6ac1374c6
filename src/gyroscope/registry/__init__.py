"""Model versions and aliases; the only folder that knows MLflow."""
