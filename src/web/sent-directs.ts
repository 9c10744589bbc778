// Direct messages that this tab sent, so that a reload does not leave half a conversation.
import { isJsonObject, textOf } from './json.js'
import { recallList, rememberList } from './tab-storage.js'

export interface SentDirect {
  readonly to: string
  readonly text: string
  readonly timeMs: number
}

const keptMax = 200

export class SentDirects {
  readonly #key: string
  #list: readonly SentDirect[]

  /** `owner` names whose messages these are: a tab may be several people, one after the other. */
  constructor(owner: string) {
    this.#key = `sent:${owner}`
    this.#list = (recallList(this.#key) ?? []).flatMap(parse)
  }

  /** Oldest first. */
  get list(): readonly SentDirect[] {
    return this.#list
  }

  add(sent: SentDirect): void {
    this.#list = [...this.#list, sent].slice(-keptMax)
    rememberList(
      this.#key,
      this.#list.map((one) => JSON.stringify(one)),
    )
  }
}

function parse(text: string): readonly SentDirect[] {
  try {
    const value: unknown = JSON.parse(text)
    if (!isJsonObject(value) || typeof value['timeMs'] !== 'number') return []
    return [{ to: textOf(value['to']), text: textOf(value['text']), timeMs: value['timeMs'] }]
  } catch {
    return []
  }
}
