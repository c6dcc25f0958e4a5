"""What people see and press inside a notebook. A widget stores nothing."""
