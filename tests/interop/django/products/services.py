"""What a view does with an order."""
from .models import Order
from .tasks import process_order


def place_order(order_id, when=None):
    order = Order.objects.get(id=order_id)
    if when:
        return process_order.apply_async((order.id,), countdown=when)
    return process_order.delay(order.id)
