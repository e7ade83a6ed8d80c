-- A shop of realistic size: 12 categories, 2,000 products, 300 customers, 500 pending orders. The same every time.
SELECT setseed(0.42);

INSERT INTO shop.category (name, slug)
SELECT name, lower(replace(replace(name, ' & ', '-'), ' ', '-'))
  FROM unnest(ARRAY['Electronics', 'Books', 'Garden', 'Kitchen', 'Toys & Games', 'Music', 'Sports', 'Clothing', 'Office',
                    'Health', 'Pets', 'Food & Drink']) AS name;

INSERT INTO shop.product (category_id, name, slug, price, received, stock)
SELECT category_id, 'Product ' || n, 'product-' || n, price, units, units
  FROM (SELECT n, 1 + n % 12 AS category_id, round((1 + random() * 249)::numeric, 2) AS price,
               (3 + floor(random() * 80))::integer AS units
          FROM generate_series(1, 2000) AS n) AS made;

INSERT INTO shop.customer (name, email)
SELECT 'Customer ' || n, 'customer' || n || '@example.com' FROM generate_series(1, 300) AS n;

INSERT INTO shop."order" (customer_id, total)
SELECT 1 + floor(random() * 300)::bigint, 0 FROM generate_series(1, 500);

INSERT INTO shop.order_item (order_id, product_id, quantity, unit_price)
SELECT o.id, p.id, (1 + floor(random() * 3))::integer, p.price
  FROM shop."order" o
 CROSS JOIN LATERAL (SELECT DISTINCT 1 + floor(random() * 2000)::bigint + 0 * o.id AS id
                       FROM generate_series(1, 1 + (o.id % 4)::integer)) AS pick
  JOIN shop.product p ON p.id = pick.id;

UPDATE shop."order" o
   SET total = (SELECT sum(quantity * unit_price) FROM shop.order_item i WHERE i.order_id = o.id);
