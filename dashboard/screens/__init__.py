"""The screens; each declares what it wants polled and draws what it is given."""
