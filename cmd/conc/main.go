// Command conc is the stock deploy program.
package main

import "example.org/conc"

func main() { conc.Main(conc.App{}) }
