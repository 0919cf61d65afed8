-- What ListOrders needs to find the orders of a customer and those with a label. The
-- comments of migrations/postgres explain it.

CREATE INDEX orders_customer_ref ON orders (customer_ref, order_id)
WHERE customer_ref IS NOT NULL;

CREATE TABLE order_label (
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    order_id BLOB NOT NULL,
    CONSTRAINT order_label_pkey PRIMARY KEY (key, value, order_id)
) STRICT, WITHOUT ROWID;

INSERT INTO order_label (key, value, order_id)
SELECT l.key, l.value, o.order_id FROM orders AS o, json_each(o.labels) AS l;
