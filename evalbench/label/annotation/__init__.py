"""Labels that annotators give by keyboard: queues, reservations, the desk."""
