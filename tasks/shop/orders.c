/*
 * process_order: one transaction, opened and closed by the worker (.transaction = CEL_TRANSACTION).
 *
 *     lock the order ── already handled? ── nothing changes, say what it is
 *         │
 *     SAVEPOINT goods: lower the stock ── not enough ──┐
 *         │                                            ├─ back to `goods`, cancelled with a reason
 *     SAVEPOINT payment: take it ──────── declined ────┘
 *         │                     └──────── busy ── retry: the whole transaction is rolled back
 *     processed; the confirmation is sent if and only if all this is committed and recorded
 *
 * The gateway takes the order's id as its idempotency key, so a charge whose transaction was lost
 * is found again by the next attempt.
 */
#include <stdio.h>
#include <string.h>

#include "shop/gateway.h"
#include "shop/shop.h"

struct order {
    int64_t id;
    char status[16];
    char reason[256];
    char total[32];
    char email[256];
};

static int order_lock(struct cel_task *task, struct cel_db *db, struct order *order)
{
    struct cel_rows *rows;
    int rc =
        cel_query(db,
                  "SELECT o.status, left(o.reason, 60) AS reason, o.total::text AS total, c.email"
                  "  FROM shop.\"order\" o JOIN shop.customer c ON c.id = o.customer_id"
                  " WHERE o.id = $1 FOR UPDATE OF o",
                  CEL_PARAMS(cel_p_int(order->id)), &rows);
    if (rc)
        return rc;
    if (cel_rows_count(rows) == 0) {
        rc = cel_failf(task, "LookupError", "order %lld does not exist", (long long)order->id);
    } else {
        snprintf(order->status, sizeof order->status, "%s", cel_row_text(rows, 0, "status"));
        snprintf(order->reason, sizeof order->reason, "%s", cel_row_text(rows, 0, "reason"));
        snprintf(order->total, sizeof order->total, "%s", cel_row_text(rows, 0, "total"));
        snprintf(order->email, sizeof order->email, "%s", cel_row_text(rows, 0, "email"));
    }
    cel_rows_free(rows);
    return rc;
}

/* Locks the order's products in the order of their ids (so that two orders cannot deadlock) and
 * names the first that has too few units; `shortage` stays empty when all have enough. */
static int goods_lock(struct cel_db *db, const struct order *order, char *shortage, size_t size)
{
    struct cel_rows *rows;
    int rc = cel_query(db,
                       "SELECT p.slug, p.stock, i.quantity"
                       "  FROM shop.order_item i JOIN shop.product p ON p.id = i.product_id"
                       " WHERE i.order_id = $1 ORDER BY p.id FOR UPDATE OF p",
                       CEL_PARAMS(cel_p_int(order->id)), &rows);
    if (rc)
        return rc;
    shortage[0] = 0;
    for (size_t row = 0; row < cel_rows_count(rows) && !shortage[0]; row++) {
        int64_t stock = cel_row_int(rows, row, "stock");
        int64_t quantity = cel_row_int(rows, row, "quantity");
        if (stock < quantity)
            snprintf(shortage, size, "insufficient stock: %s has %lld, %lld wanted",
                     cel_row_text(rows, row, "slug"), (long long)stock, (long long)quantity);
    }
    cel_rows_free(rows);
    return CEL_OK;
}

static int goods_take(struct cel_db *db, const struct order *order)
{
    return cel_query(db,
                     "UPDATE shop.product p SET stock = p.stock - i.quantity"
                     "  FROM shop.order_item i WHERE i.order_id = $1 AND p.id = i.product_id",
                     CEL_PARAMS(cel_p_int(order->id)), NULL);
}

static int order_cancel(struct cel_db *db, struct order *order, const char *reason)
{
    int rc = cel_rollback_to(db, "goods");

    if (!rc)
        rc = cel_query(db,
                       "UPDATE shop.\"order\" SET status = 'cancelled', reason = $2 WHERE id = $1",
                       CEL_PARAMS(cel_p_int(order->id), cel_p_text(reason)), NULL);
    snprintf(order->status, sizeof order->status, "cancelled");
    snprintf(order->reason, sizeof order->reason, "%s", reason);
    return rc;
}

static int order_settle(struct cel_db *db, struct order *order)
{
    snprintf(order->status, sizeof order->status, "processed");
    return cel_query(
        db, "UPDATE shop.\"order\" SET status = 'processed', processed_at = now() WHERE id = $1",
        CEL_PARAMS(cel_p_int(order->id)), NULL);
}

/* Inside the savepoint `payment`: the row first, so that a second payment of an order is refused
 * before money moves. */
static int payment_take(struct cel_task *task,
                        struct cel_db *db,
                        const struct order *order,
                        enum gateway_answer *ret_answer)
{
    struct gateway_charge charge = {order->id, cel_request(task)->retries, order->total};
    char reference[GATEWAY_REFERENCE_SIZE];
    int64_t busy, decline;

    int rc = setting_int(task, "gateway_busy_percent", 0, 100, &busy);
    if (!rc)
        rc = setting_int(task, "gateway_decline_percent", 0, 100, &decline);
    if (!rc)
        rc = cel_savepoint(db, "payment");
    if (!rc)
        rc = cel_query(db,
                       "INSERT INTO shop.payment (order_id, amount, reference)"
                       " SELECT id, total, 'open-' || id FROM shop.\"order\" WHERE id = $1",
                       CEL_PARAMS(cel_p_int(order->id)), NULL);
    if (rc)
        return rc;
    *ret_answer = gateway_take(&charge, busy, decline, reference);
    if (*ret_answer != GATEWAY_TAKEN)
        return cel_rollback_to(db, "payment");
    rc = cel_query(db, "UPDATE shop.payment SET reference = $2 WHERE order_id = $1",
                   CEL_PARAMS(cel_p_int(order->id), cel_p_text(reference)), NULL);
    return rc ? rc : cel_release(db, "payment");
}

static int confirmation_send(struct cel_task *task, const struct order *order)
{
    struct cel_call *call = cel_call_new("products.tasks.send_email_notification");
    struct cel_value *recipients = cel_list();
    char subject[64], text[128];

    if (!call || !recipients || cel_list_add(recipients, cel_text(order->email))) {
        cel_call_free(call);
        cel_value_free(recipients);
        return cel_fail(task, "MemoryError", "no memory for the confirmation");
    }
    snprintf(subject, sizeof subject, "Your order %lld", (long long)order->id);
    snprintf(text, sizeof text, "Thank you. We have received your payment of %s.\n", order->total);
    cel_call_arg(call, cel_text(subject));
    cel_call_arg(call, cel_text(text));
    cel_call_arg(call, recipients);
    int rc = cel_task_send(task, call, NULL);
    cel_call_free(call);
    return rc ? cel_fail(task, "RuntimeError", "the confirmation could not be built") : CEL_OK;
}

static int order_report(struct cel_task *task, const struct order *order)
{
    struct cel_value *result = cel_map();

    if (cel_map_set(result, "order_id", cel_int(order->id)) ||
        cel_map_set(result, "attempts", cel_int(cel_request(task)->retries + 1)) ||
        cel_map_set(result, "status", cel_text(order->status)) ||
        cel_map_set(result, "total", cel_text(order->total)) ||
        (order->reason[0] && cel_map_set(result, "reason", cel_text(order->reason))))
        result = cel_value_free(result); /* cel_return reports it */
    return cel_return(task, result);
}

/* Goods and payment of a pending order; on CEL_OK its status says how it ended. */
static int order_carry_out(struct cel_task *task, struct cel_db *db, struct order *order)
{
    enum gateway_answer answer;
    char shortage[256];

    int rc = cel_savepoint(db, "goods");
    if (!rc)
        rc = goods_lock(db, order, shortage, sizeof shortage);
    if (rc)
        return rc;
    if (shortage[0])
        return order_cancel(db, order, shortage);

    rc = goods_take(db, order);
    if (!rc)
        rc = payment_take(task, db, order, &answer);
    if (rc)
        return rc;
    switch (answer) {
    case GATEWAY_BUSY: {
        int64_t delay_ms;
        rc = setting_int(task, "order_retry_ms", 0, 86400000, &delay_ms);
        return rc ? rc : cel_retry(task, delay_ms, "the payment gateway is busy");
    }
    case GATEWAY_DECLINED:
        return order_cancel(db, order, "payment declined");
    case GATEWAY_TAKEN:
        break;
    }
    rc = order_settle(db, order);
    return rc ? rc : confirmation_send(task, order);
}

int process_order(struct cel_task *task)
{
    struct order order = {0};

    if (cel_arg_int(task, "order_id", &order.id))
        return CEL_FAIL;
    struct cel_db *db = cel_db(task);
    if (!db)
        return CEL_RETRY;
    int rc = order_lock(task, db, &order);
    if (rc)
        return rc;
    if (strcmp(order.status, "pending") == 0 || strcmp(order.status, "processing") == 0) {
        rc = order_carry_out(task, db, &order);
        if (rc)
            return rc;
    }
    return order_report(task, &order);
}
