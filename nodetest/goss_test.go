package nodetest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheManualsTableForGoss makes a plan of each line that the manual gives for
// an attribute of goss, and wants that none of its resources is left out.
func TestTheManualsTableForGoss(t *testing.T) {
	page, err := os.ReadFile("../docs/manual/goss.rst")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^   \\* - (``.*)\n     - ``(.*)``$").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 30 {
		t.Fatalf("got %d rows, want the table", len(rows))
	}
	for _, row := range rows {
		if _, err := plan(t, "[node:web1]\n[nodetest:s]\nit = "+row[2]+"\n", "s"); err != nil {
			t.Errorf("%s: %v", row[1], err)
		}
	}
	for _, resource := range strings.Fields("addr command dns file gossfile group http interface kernel-param matching mount package port process service user") {
		if !strings.Contains(string(page), "``"+resource+"``") {
			t.Errorf("the page says nothing of %s", resource)
		}
	}
}
