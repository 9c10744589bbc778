// Formats times and names for the page.

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const weekday = new Intl.DateTimeFormat('en', { weekday: 'long', day: 'numeric', month: 'long' })
const withYear = new Intl.DateTimeFormat('en', {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
})
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

export function timeOfDay(timeMs: number): string {
  return time.format(timeMs)
}

export function exactTime(timeMs: number): string {
  return exact.format(timeMs)
}

/** Returns `Today`, `Yesterday`, or the date. */
export function dayName(timeMs: number, nowMs: number): string {
  const day = new Date(timeMs)
  const today = new Date(nowMs)
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1)
  if (day.toDateString() === today.toDateString()) return 'Today'
  if (day.toDateString() === yesterday.toDateString()) return 'Yesterday'
  return (day.getFullYear() === today.getFullYear() ? weekday : withYear).format(day)
}

/** Returns the first grapheme of a name in upper case, or `?` for an empty name. */
export function initial(name: string): string {
  const [first] = new Intl.Segmenter().segment(name.trim())
  return first?.segment.toLocaleUpperCase() ?? '?'
}

const tones = 8

/** Returns the CSS class of a colour, `tone-0` to `tone-7`. The same name always has the same colour. */
export function toneOf(name: string): string {
  let hash = 0
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 65_521
  return `tone-${hash % tones}`
}
