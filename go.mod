module github.com/actorflight/singleflight

go 1.25.0

require (
	github.com/stretchr/testify v1.7.1
	go.uber.org/goleak v1.0.0
)

require (
	github.com/davecgh/go-spew v1.1.0 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	golang.org/x/lint v0.0.0-20190930215403-16217165b5de // indirect
	golang.org/x/tools v0.0.0-20191108193012-7d206e10da11 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect; older ones have a known vulnerability
)
