package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// A shop is a database of products and their orders.
type shop struct {
	db       *sql.DB
	products int
}

const schema = `
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE orders (
	id         INTEGER PRIMARY KEY,
	product_id INTEGER NOT NULL REFERENCES products (id),
	month      TEXT    NOT NULL, -- 2026-01
	units      INTEGER NOT NULL,
	cents      INTEGER NOT NULL  -- for all units
);
CREATE INDEX orders_of_product ON orders (product_id);`

// openShop makes the database of a shop in dir. It calls ordered after each
// order. The same seed makes the same shop.
func openShop(ctx context.Context, dir string, products, orders int, seed uint64, ordered func()) (*shop, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_pragma=busy_timeout(20000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8) // as in practice, where connections are limited
	db.SetMaxIdleConns(8)
	s := &shop{db, products}
	if err := s.fill(ctx, orders, rand.New(rand.NewPCG(seed, 0)), ordered); err != nil {
		return nil, fmt.Errorf("making the database: %w", errors.Join(err, db.Close()))
	}
	return s, nil
}

func (s *shop) fill(ctx context.Context, orders int, random *rand.Rand, ordered func()) error {
	if _, err := s.db.ExecContext(ctx, schema); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // no effect after Commit
	for id := 1; id <= s.products; id++ {
		if _, err := tx.ExecContext(ctx, `INSERT INTO products VALUES (?, ?)`, id, fmt.Sprintf("Product %d", id)); err != nil {
			return err
		}
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO orders (product_id, month, units, cents) VALUES (?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for range orders {
		product := 1 + random.IntN(s.products)
		month := fmt.Sprintf("2026-%02d", 1+random.IntN(12))
		units := 1 + random.IntN(5)
		if _, err := insert.ExecContext(ctx, product, month, units, units*(500+10*product)); err != nil {
			return err
		}
		ordered()
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	// With a write-ahead log, queries and later orders do not wait for each other.
	_, err = s.db.ExecContext(ctx, `PRAGMA journal_mode = WAL`)
	return err
}

// Sales is what a shop answers about a product.
type Sales struct {
	Product   string  `json:"product"`
	Months    []Month `json:"months"`
	LastOrder int64   `json:"last_order"` // that they include
}

// A Month is part of Sales.
type Month struct {
	Month string `json:"month"`
	Units int64  `json:"units"`
	Cents int64  `json:"cents"`
}

// sales adds up all orders of a product. It is a query.
func (s *shop) sales(ctx context.Context, product int64) (*Sales, error) {
	var sales Sales
	err := s.db.QueryRowContext(ctx, `SELECT name FROM products WHERE id = ?`, product).Scan(&sales.Product)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, `
		SELECT month, SUM(units), SUM(cents), MAX(id) FROM orders
		WHERE product_id = ? GROUP BY month ORDER BY month`, product)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m Month
		var last int64
		if err := rows.Scan(&m.Month, &m.Units, &m.Cents, &last); err != nil {
			return nil, err
		}
		sales.Months = append(sales.Months, m)
		sales.LastOrder = max(sales.LastOrder, last)
	}
	return &sales, rows.Err()
}

// order orders one unit of a product. It is a write. When it returns, the order is
// committed, and later orders have greater ids.
func (s *shop) order(ctx context.Context, product int64) (id int64, err error) {
	result, err := s.db.ExecContext(ctx, `
		INSERT INTO orders (product_id, month, units, cents)
		SELECT id, '2026-12', 1, 500 + 10 * id FROM products WHERE id = ?`, product)
	if err != nil {
		return 0, err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return 0, cmp.Or(err, sql.ErrNoRows)
	}
	return result.LastInsertId()
}

func (s *shop) Close() error { return s.db.Close() }
