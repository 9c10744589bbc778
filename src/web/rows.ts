// What the timeline draws, line by line: entries with the days between them, and neighbours of one author as a group. Pure.
import type { Entry, Gap, Message } from './message-log.js'

export type Row =
  | { readonly kind: 'day'; readonly key: string; readonly timeMs: number }
  /** Unread from here on. */
  | { readonly kind: 'new'; readonly key: string }
  | { readonly kind: 'gap'; readonly key: string; readonly gap: Gap }
  /** `leads`: the author's name stands above it. */
  | { readonly kind: 'message'; readonly key: string; readonly message: Message; readonly leads: boolean }

/** Within this time, messages of one author stand together. */
const groupMs = 5 * 60_000

export function rowsOf(
  entries: readonly Entry[],
  options: { newFromId: number | undefined },
): readonly Row[] {
  const rows: Row[] = []
  let day = ''
  let before: Message | undefined
  for (const entry of entries) {
    if (entry.kind === 'gap') {
      rows.push({ kind: 'gap', key: `gap ${entry.id}`, gap: entry })
      before = undefined
      continue
    }
    if (entry.timeMs !== undefined && dayOf(entry.timeMs) !== day) {
      day = dayOf(entry.timeMs)
      rows.push({ kind: 'day', key: `day ${day} ${entry.id}`, timeMs: entry.timeMs })
      before = undefined
    }
    if (entry.id === options.newFromId) {
      rows.push({ kind: 'new', key: 'new' })
      before = undefined
    }
    const leads = before === undefined || !areTogether(before, entry)
    rows.push({ kind: 'message', key: `message ${entry.id} ${leads}`, message: entry, leads })
    before = entry
  }
  return rows
}

function areTogether(before: Message, after: Message): boolean {
  return (
    before.author.user === after.author.user &&
    before.author.own === after.author.own &&
    (after.timeMs ?? 0) - (before.timeMs ?? 0) < groupMs
  )
}

/** In the reader's own time zone. */
function dayOf(timeMs: number): string {
  const date = new Date(timeMs)
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`
}
