module github.com/actorflight/singleflight

go 1.25.0
