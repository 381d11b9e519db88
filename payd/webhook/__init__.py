"""Webhooks to the merchant: what is told (`outbox`), how it is signed and sent, and to which addresses it may go.

When it goes out again is decided in ``core/schedules.py``; who takes the next one is ``workers/webhook_dispatcher.py``.
"""
