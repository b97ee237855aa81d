// Command shop-deploy is conc with the shop's own ops and lists.
package main

import (
	"example.org/conc"

	"example.org/shop/devops"
)

func main() { conc.Main(devops.App()) }
