// Package devops is how the shop is deployed: what conc does not know by itself.
// It is a part of the application, released and tested with it, and it may use
// all of the application's own packages, on the workstation and on the node.
package devops

import (
	"example.org/conc"
	"example.org/conc/jobs"

	"example.org/shop/store"
)

// App is the shop's own conc. Its other lists are in deploy.ini.
func App() conc.App {
	return conc.App{
		Name:    "shop-deploy",
		Release: store.Newest,
		Ops:     jobs.Catalogue{migrateEntry()},
		Lists: map[string]jobs.List{
			// A list in Go, for what is of no use as a line: it tries the migration on a
			// copy of the node's data, while the shop is open.
			"trial": {
				{Name: "open", Host: jobs.Remote, Op: jobs.OpenBundle{}},
				{Name: "try", Host: jobs.Remote, Op: jobs.OpFunc(trial)},
				{Name: "close", Host: jobs.Remote, Op: jobs.CloseBundle{}},
			},
		},
	}
}
