// The rows of the timeline: the entries of a log, dividers between days, and consecutive messages of one
// author as a group. Does not use the document.
import type { LogEntry, LogGap, ChatMessage } from './message-log.js'

export type TimelineRow =
  | { readonly kind: 'day'; readonly key: string; readonly timeMs: number }
  /** The divider above the first unread message. */
  | { readonly kind: 'new'; readonly key: string }
  | { readonly kind: 'gap'; readonly key: string; readonly gap: LogGap }
  /** `startsGroup` is true when the author's name is shown above the message. */
  | {
      readonly kind: 'message'
      readonly key: string
      readonly message: ChatMessage
      readonly startsGroup: boolean
    }

/** Messages of one author form a group when less than this time is between them. */
const groupMs = 5 * 60_000

export function rowsOf(
  entries: readonly LogEntry[],
  options: { newFromId: number | undefined },
): readonly TimelineRow[] {
  const rows: TimelineRow[] = []
  let day = ''
  let previous: ChatMessage | undefined
  for (const entry of entries) {
    if (entry.kind === 'gap') {
      rows.push({ kind: 'gap', key: `gap ${entry.id}`, gap: entry })
      previous = undefined
      continue
    }
    if (entry.timeMs !== undefined && dayOf(entry.timeMs) !== day) {
      day = dayOf(entry.timeMs)
      rows.push({ kind: 'day', key: `day ${day} ${entry.id}`, timeMs: entry.timeMs })
      previous = undefined
    }
    if (entry.id === options.newFromId) {
      rows.push({ kind: 'new', key: 'new' })
      previous = undefined
    }
    const startsGroup = previous === undefined || !areGrouped(previous, entry)
    rows.push({ kind: 'message', key: `message ${entry.id} ${startsGroup}`, message: entry, startsGroup })
    previous = entry
  }
  return rows
}

function areGrouped(previous: ChatMessage, next: ChatMessage): boolean {
  return (
    previous.author.user === next.author.user &&
    previous.author.isOwn === next.author.isOwn &&
    (next.timeMs ?? 0) - (previous.timeMs ?? 0) < groupMs
  )
}

/** Returns the date in the time zone of the browser. */
function dayOf(timeMs: number): string {
  const date = new Date(timeMs)
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`
}
