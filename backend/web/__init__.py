"""The dashboard: what labeling costs, how learning goes, what serves, and whether all is well."""
