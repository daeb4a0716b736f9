module github.com/actorflight/singleflight/conformance

go 1.26.6

require (
	github.com/actorflight/singleflight v0.0.0
	github.com/anishathalye/porcupine v1.3.1
	github.com/stretchr/testify v1.12.1
	golang.org/x/sync v0.24.0
	pgregory.net/rapid v1.3.0
	resenje.org/singleflight v0.4.3
	tailscale.com v1.102.5
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace github.com/actorflight/singleflight => ../
