-- SPDX-License-Identifier: MIT
-- What sqlite3.trace records: a table in memory, filled, indexed and asked.
CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, year INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO book SELECT i, 'book ' || i, 1900 + i % 120 FROM n;
CREATE INDEX by_year ON book (year);
SELECT count(*), min(title), sum(id) FROM book WHERE year BETWEEN 1950 AND 1960;
UPDATE book SET title = title || ', second edition' WHERE year % 10 = 0;
SELECT length(group_concat(title)) FROM book;
