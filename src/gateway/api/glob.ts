// Channel names by a pattern of a few wildcards. By hand, never by regex: a backend's pattern must not be able to stall a gateway.

/** `*` stands for any text, also none; `?` for one character. Time is at most the product of both lengths. */
export function globMatches(pattern: string, text: string): boolean {
  let at = 0
  let step = 0
  /** Where to go on when what follows the last star does not fit. */
  let star = -1
  let starAt = 0
  while (at < text.length) {
    if (pattern[step] === '*') {
      star = step
      starAt = at
      step += 1
    } else if (step < pattern.length && (pattern[step] === '?' || pattern[step] === text[at])) {
      step += 1
      at += 1
    } else if (star === -1) return false
    else {
      step = star + 1
      starAt += 1
      at = starAt
    }
  }
  while (pattern[step] === '*') step += 1
  return step === pattern.length
}
