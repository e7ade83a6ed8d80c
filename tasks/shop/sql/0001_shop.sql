-- The shop: products, orders, payments, and the record of what tasks changed.

CREATE SCHEMA shop;

CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TABLE shop.category (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (name <> ''),
    slug       text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'
                                        AND length(slug) <= 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shop.product (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    category_id bigint NOT NULL REFERENCES shop.category,
    name        text NOT NULL CHECK (name <> ''),
    slug        text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'
                                         AND length(slug) <= 100),
    price       numeric(10, 2) NOT NULL CHECK (price BETWEEN 0 AND 99999999.99), -- so NaN is none
    received    integer NOT NULL DEFAULT 0 CHECK (received >= 0), -- units ever put on the shelf
    stock       integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (category_id, name)
);

CREATE TABLE shop.customer (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL CHECK (name <> ''),
    email      text NOT NULL UNIQUE CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$'
                                        AND octet_length(email) <= 254),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shop."order" (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  bigint NOT NULL REFERENCES shop.customer,
    status       text NOT NULL DEFAULT 'pending' CHECK (status IN
                     ('pending', 'processing', 'processed', 'shipped', 'delivered', 'cancelled')),
    reason       text, -- why it was cancelled
    total        numeric(12, 2) NOT NULL CHECK (total BETWEEN 0 AND 9999999999.99),
    processed_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'cancelled') = (reason IS NOT NULL)),
    CHECK ((status IN ('processed', 'shipped', 'delivered')) = (processed_at IS NOT NULL))
);
CREATE INDEX ON shop."order" (processed_at);

CREATE TABLE shop.order_item (
    order_id   bigint NOT NULL REFERENCES shop."order" ON DELETE CASCADE,
    product_id bigint NOT NULL REFERENCES shop.product,
    quantity   integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(10, 2) NOT NULL CHECK (unit_price BETWEEN 0 AND 99999999.99),
    PRIMARY KEY (order_id, product_id)
);
CREATE INDEX ON shop.order_item (product_id);

CREATE TABLE shop.payment (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id   bigint NOT NULL UNIQUE REFERENCES shop."order",
    amount     numeric(12, 2) NOT NULL CHECK (amount BETWEEN 0 AND 9999999999.99),
    reference  text NOT NULL UNIQUE, -- the gateway's
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One row per price that a run of update_product_prices changed. The key lets a run that was cut short go on
-- where it stopped: what stands here under its run is done.
CREATE TABLE shop.price_change (
    run        text NOT NULL, -- the task's id
    product_id bigint NOT NULL REFERENCES shop.product,
    old_price  numeric(10, 2) NOT NULL CHECK (old_price >= 0),
    new_price  numeric(10, 2) NOT NULL CHECK (new_price >= 0 AND new_price <> old_price),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, product_id)
);

CREATE TRIGGER touch BEFORE UPDATE ON shop.category FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE TRIGGER touch BEFORE UPDATE ON shop.product FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE TRIGGER touch BEFORE UPDATE ON shop.customer FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE TRIGGER touch BEFORE UPDATE ON shop."order" FOR EACH ROW EXECUTE FUNCTION shop.touch();

-- What must hold at any moment, whatever was killed: no row here has broken > 0.
CREATE VIEW shop.consistency AS
SELECT 'a processed order has one payment of its total' AS rule, count(*) AS broken
  FROM shop."order" o LEFT JOIN shop.payment p ON p.order_id = o.id
 WHERE o.status IN ('processed', 'shipped', 'delivered') AND p.amount IS DISTINCT FROM o.total
UNION ALL
SELECT 'no other order has a payment', count(*)
  FROM shop."order" o JOIN shop.payment p ON p.order_id = o.id
 WHERE o.status IN ('pending', 'processing', 'cancelled')
UNION ALL
SELECT 'an order costs what its items cost', count(*)
  FROM shop."order" o
 WHERE o.total <> (SELECT coalesce(sum(i.quantity * i.unit_price), 0) FROM shop.order_item i WHERE i.order_id = o.id)
UNION ALL
SELECT 'stock is what was received less what was sold', count(*)
  FROM shop.product p
 WHERE p.stock <> p.received - (
           SELECT coalesce(sum(i.quantity), 0)
             FROM shop.order_item i JOIN shop."order" o ON o.id = i.order_id
            WHERE i.product_id = p.id AND o.status IN ('processed', 'shipped', 'delivered'));
