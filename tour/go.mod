module github.com/actorflight/singleflight/tour

go 1.26.0

replace github.com/actorflight/singleflight => ../

require (
	github.com/actorflight/singleflight v0.0.0
	github.com/stretchr/testify v1.12.1
	github.com/yuin/goldmark v1.8.7
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
