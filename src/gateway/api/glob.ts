// Matches channel names against a glob pattern, without a regular expression: a backend's pattern must not be
// able to stall a gateway.

/**
 * `*` matches any text, also none; `?` matches one character. The time is at most the product of both
 * lengths.
 */
export function globMatches(pattern: string, text: string): boolean {
  let textIndex = 0
  let patternIndex = 0
  // The last `*` and its position in the text: matching resumes there when what follows it does not match.
  let starIndex = -1
  let starTextIndex = 0
  while (textIndex < text.length) {
    if (pattern[patternIndex] === '*') {
      starIndex = patternIndex
      starTextIndex = textIndex
      patternIndex += 1
    } else if (
      patternIndex < pattern.length &&
      (pattern[patternIndex] === '?' || pattern[patternIndex] === text[textIndex])
    ) {
      patternIndex += 1
      textIndex += 1
    } else if (starIndex === -1) return false
    else {
      patternIndex = starIndex + 1
      starTextIndex += 1
      textIndex = starTextIndex
    }
  }
  while (pattern[patternIndex] === '*') patternIndex += 1
  return patternIndex === pattern.length
}
