// Requests of the server API take turns, so that no tenant keeps the others waiting: a tenant has a bounded
// number of requests at work, and the requests that wait are taken from each tenant in turn.

export interface TurnLimits {
  /** Requests at work on this gateway. */
  readonly working: number
  /** Requests of one tenant that are at work or whose response is not sent completely. */
  readonly perTenant: number
}

const defaultLimits: TurnLimits = { working: 64, perTenant: 8 }

/** One turn of one request. */
export interface Turn {
  /** The response is built: another tenant may work. The turn still counts for its own tenant. */
  worked(): void
  /** The response is sent, or its client has left. Also ends the work. A second call does nothing. */
  end(): void
}

interface TenantTurns {
  taken: number
  readonly waiting: ((turn: Turn) => void)[]
}

/** `Tenant` identifies a tenant. The caller bounds how many requests of a tenant wait. */
export class ApiTurns<Tenant> {
  readonly #limits: TurnLimits
  /** The tenants with turns or waiting requests. The tenant that was served last comes last. */
  readonly #tenants = new Map<Tenant, TenantTurns>()
  #working = 0

  constructor(limits: TurnLimits = defaultLimits) {
    this.#limits = limits
  }

  /** Resolves when it is the turn of the request. The caller always ends the turn. */
  take(tenant: Tenant): Promise<Turn> {
    const turns = this.#tenants.get(tenant) ?? { taken: 0, waiting: [] }
    this.#tenants.set(tenant, turns)
    return new Promise((resolve) => {
      turns.waiting.push(resolve)
      this.#serve()
    })
  }

  #serve(): void {
    const { perTenant, working } = this.#limits
    while (this.#working < working) {
      const next = this.#nextTenant(perTenant)
      if (!next) return
      const [tenant, turns] = next
      this.#tenants.delete(tenant)
      this.#tenants.set(tenant, turns)
      turns.taken += 1
      this.#working += 1
      turns.waiting.shift()?.(this.#turnOf(tenant, turns))
    }
  }

  #nextTenant(perTenant: number): [Tenant, TenantTurns] | undefined {
    for (const entry of this.#tenants) {
      const [, { taken, waiting }] = entry
      if (waiting.length > 0 && taken < perTenant) return entry
    }
    return undefined
  }

  #turnOf(tenant: Tenant, turns: TenantTurns): Turn {
    let state: 'working' | 'sending' | 'ended' = 'working'
    const worked = (): void => {
      if (state !== 'working') return
      state = 'sending'
      this.#working -= 1
      this.#serve()
    }
    return {
      worked,
      end: () => {
        worked()
        if (state === 'ended') return
        state = 'ended'
        turns.taken -= 1
        if (turns.taken === 0 && turns.waiting.length === 0) this.#tenants.delete(tenant)
        this.#serve()
      },
    }
  }
}
