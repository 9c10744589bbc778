// Stores the direct messages that this tab sent, so that a reload shows both sides of a conversation.
import { isJsonObject, textOrEmpty } from './json.js'
import { loadList, saveList } from './tab-storage.js'

export interface SentMessage {
  readonly to: string
  readonly text: string
  readonly timeMs: number
}

/** Limit on the stored messages; above it, the oldest are removed. */
const storedMax = 200

export class SentMessages {
  readonly #key: string
  #list: readonly SentMessage[]

  /**
   * `owner` names the user who sent the messages: several users can sign in to one tab, one after the other.
   */
  constructor(owner: string) {
    this.#key = `sent:${owner}`
    this.#list = (loadList(this.#key) ?? []).flatMap(parse)
  }

  /** Oldest first. */
  get list(): readonly SentMessage[] {
    return this.#list
  }

  add(sent: SentMessage): void {
    this.#list = [...this.#list, sent].slice(-storedMax)
    saveList(
      this.#key,
      this.#list.map((item) => JSON.stringify(item)),
    )
  }
}

function parse(text: string): readonly SentMessage[] {
  try {
    const value: unknown = JSON.parse(text)
    if (!isJsonObject(value) || typeof value['timeMs'] !== 'number') return []
    return [{ to: textOrEmpty(value['to']), text: textOrEmpty(value['text']), timeMs: value['timeMs'] }]
  } catch {
    return []
  }
}
