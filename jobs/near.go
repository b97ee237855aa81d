package jobs

import "strings"

// nearest gives the candidates that share a prefix with word.
func nearest(word string, candidates []string) []string {
	var near []string
	for _, c := range candidates {
		if word != "" && (strings.HasPrefix(c, word) || strings.HasPrefix(word, c)) {
			near = append(near, c)
		}
	}
	return near
}
