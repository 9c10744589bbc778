// A broker listener for tests: records every call, and lets a test wait for calls with a deadline.
import { expect } from 'vitest'
import type { Announcement, BrokerListener, ChannelRef, Position, Publication } from './broker.js'

export class RecordingListener implements BrokerListener {
  readonly publications: { readonly ref: ChannelRef; readonly publication: Publication }[] = []
  readonly announcements: { readonly ref: ChannelRef; readonly announcement: Announcement }[] = []
  readonly losses: { readonly ref: ChannelRef; readonly top: Position }[] = []
  readonly #deadlineMs: number
  readonly #waiting = new Set<() => void>()

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs
  }

  onPublication(ref: ChannelRef, publication: Publication): void {
    this.publications.push({ ref, publication })
    this.#check()
  }

  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    this.announcements.push({ ref, announcement })
    this.#check()
  }

  onContinuityLost(ref: ChannelRef, top: Position): void {
    this.losses.push({ ref, top })
    this.#check()
  }

  /** The publications on `ref`, in the order of their arrival. */
  on(ref: ChannelRef): Publication[] {
    return this.publications
      .filter((one) => one.ref.tenantId === ref.tenantId && one.ref.channel === ref.channel)
      .map(({ publication }) => publication)
  }

  /** The data of the publications on `ref`, as text. */
  textsOn(ref: ChannelRef): string[] {
    return this.on(ref).map(textOf)
  }

  /** Resolves as soon as `done` returns true. Rejects after the deadline with an error that names `what`. */
  async until(what: string, done: () => boolean): Promise<void> {
    if (done()) return
    await new Promise<void>((resolve, reject) => {
      const check = () => {
        if (!done()) return
        clearTimeout(deadline)
        this.#waiting.delete(check)
        resolve()
      }
      const deadline = setTimeout(() => {
        this.#waiting.delete(check)
        reject(
          new Error(
            `not within ${this.#deadlineMs} ms: ${what}; received ${this.publications.length} publications`,
          ),
        )
      }, this.#deadlineMs)
      this.#waiting.add(check)
    })
  }

  async untilText(ref: ChannelRef, text: string): Promise<void> {
    await this.until(`${text} on ${ref.channel}`, () => this.textsOn(ref).includes(text))
  }

  async untilCount(ref: ChannelRef, count: number): Promise<void> {
    await this.until(`${count} publications on ${ref.channel}`, () => this.on(ref).length >= count)
  }

  /**
   * Asserts the order that every listener may rely on: each offset arrives once, and never after a higher
   * offset of its epoch.
   */
  expectOrdered(): void {
    const lastOffsets = new Map<string, number>()
    for (const { ref, publication } of this.publications) {
      if (publication.offset === 0) continue
      const stream = JSON.stringify([ref.tenantId, ref.channel, publication.epoch])
      expect(publication.offset, `offset on ${ref.channel}`).toBeGreaterThan(lastOffsets.get(stream) ?? 0)
      lastOffsets.set(stream, publication.offset)
    }
  }

  #check(): void {
    for (const check of this.#waiting) check()
  }
}

export function textOf(publication: Publication): string {
  return Buffer.from(publication.data).toString()
}
