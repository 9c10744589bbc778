// Who may do what on which channel. On the path of every publish: rules are compiled once, and a decision allocates next to nothing.
import { deniedMessage, noGrantMessage, noRuleMessage } from './denial-message.js'
import { compileMatch, type ChannelMatch } from './channel-match.js'
import { claimAt, claimTexts, type Claims } from './claims.js'
import type { ChannelRule, Grant, Operation, Subject } from './policy.js'

/** Who asks. A guest is `anonymous` and called `guest:<client_id>`; whatever roles or claims it has do not count. */
export interface AclSubject {
  readonly user: string
  readonly anonymous: boolean
  readonly roles: readonly string[]
  readonly claims: Claims
}

/**
 * `noRule`: no rule covers the channel for anybody. `noGrant`: `rule` covers it and grants this subject nothing. `denied`: `rule` forbids it.
 * `explanation` is a sentence for people; it tells roles and claim names that would help, never users or claim values.
 */
export type AccessDecision =
  | { readonly allowed: true; readonly rule: string }
  | {
      readonly allowed: false
      readonly rule?: string
      readonly reason: 'noRule' | 'noGrant' | 'denied'
      readonly explanation: string
    }

/** How a channel behaves, whoever uses it. `durability` undefined: the broker's own default. */
export interface ChannelSettings extends Pick<
  ChannelRule,
  'history' | 'presence' | 'joinLeave' | 'sanitize'
> {
  readonly rule: string
  readonly durability: ChannelRule['durability'] | undefined
}

interface CompiledRule {
  readonly source: ChannelRule
  readonly match: ChannelMatch
  readonly grants: readonly CompiledGrant[]
  readonly settings: ChannelSettings
  /** Made once: the same answer to every allowed publish. */
  readonly allowed: AccessDecision
}

interface CompiledGrant {
  readonly source: Grant
  readonly denies: boolean
  readonly operations: ReadonlySet<Operation>
  readonly subjects: readonly ((subject: AclSubject) => boolean)[]
}

/** The rules of one tenant. All matching rules' grants count, deny wins, and what nothing grants is refused. */
export class ChannelRules {
  readonly #literals = new Map<string, CompiledRule[]>()
  readonly #others: CompiledRule[] = []

  /** Matches must have passed `matchProblem`. */
  constructor(rules: readonly ChannelRule[]) {
    for (const rule of rules.map(compileRule).toSorted(mostExactFirst)) {
      const { type, value } = rule.source.match
      if (type !== 'Literal') this.#others.push(rule)
      else if (!this.#literals.get(value)?.push(rule)) this.#literals.set(value, [rule])
    }
  }

  decide(subject: AclSubject, operation: Operation, channel: string): AccessDecision {
    let allowing: CompiledRule | undefined
    for (const rules of [this.#literals.get(channel) ?? noRules, this.#others]) {
      for (const rule of rules) {
        if (!rule.match.matches(channel, subject)) continue
        for (const grant of rule.grants) {
          // A second allow changes nothing; a deny further on still would.
          if (allowing && !grant.denies) continue
          if (!grant.operations.has(operation) || !grant.subjects.some((matches) => matches(subject)))
            continue
          if (grant.denies) return denialOf(rule, grant, operation)
          allowing = rule
        }
      }
    }
    return allowing ? allowing.allowed : this.#refusal(subject, operation, channel)
  }

  /** Of the most exact rule that covers `channel` for anybody; of equals, the first by name. Undefined: no rule does. */
  settings(channel: string): ChannelSettings | undefined {
    return this.#mostExact(channel, (rule) => rule.match.matchesAnySubject(channel))?.settings
  }

  #refusal(subject: AclSubject, operation: Operation, channel: string): AccessDecision {
    const covering =
      this.#mostExact(
        channel,
        (rule) => rule.match.matches(channel, subject) && hasAllowGrant(rule, operation),
      ) ??
      this.#mostExact(channel, (rule) => rule.match.matches(channel, subject)) ??
      this.#mostExact(channel, (rule) => rule.match.matchesAnySubject(channel))
    if (!covering) return { allowed: false, reason: 'noRule', explanation: noRuleMessage(channel) }
    const inPlace = covering.match.matches(channel, subject)
    const explanation = noGrantMessage(covering.source, { operation, channel, inPlace })
    return { allowed: false, rule: covering.source.name, reason: 'noGrant', explanation }
  }

  #mostExact(channel: string, covers: (rule: CompiledRule) => boolean): CompiledRule | undefined {
    return this.#literals.get(channel)?.find(covers) ?? this.#others.find(covers)
  }
}

const noRules: readonly CompiledRule[] = []

function compileRule(source: ChannelRule): CompiledRule {
  const { name, history, presence, joinLeave, durability, sanitize } = source
  return {
    source,
    match: compileMatch(source.match),
    grants: source.grants.map((grant) => ({
      source: grant,
      denies: grant.effect === 'Deny',
      operations: new Set(grant.operations),
      subjects: grant.subjects.map(compileSubject),
    })),
    settings: { rule: name, history, presence, joinLeave, durability, sanitize },
    allowed: { allowed: true, rule: name },
  }
}

/** Keys are joined by AND. No key at all is nobody, not everybody. */
function compileSubject(spec: Subject): (subject: AclSubject) => boolean {
  const users = spec.users && new Set(spec.users)
  const roles = spec.roles && new Set(spec.roles)
  const claims = Object.entries(spec.claims ?? {}).map(([path, values]) => ({
    path,
    values: new Set(values),
  }))
  const wantsToken =
    users !== undefined || roles !== undefined || claims.length > 0 || spec.authenticated === true

  // `anonymous` beside another key asks for a guest with a token: there is none.
  if (spec.anonymous) return (subject) => subject.anonymous && !wantsToken

  return (subject) =>
    wantsToken &&
    !subject.anonymous &&
    (users === undefined || users.has(subject.user)) &&
    (roles === undefined || subject.roles.some((role) => roles.has(role))) &&
    claims.every(({ path, values }) =>
      claimTexts(claimAt(subject.claims, path)).some((text) => values.has(text)),
    )
}

function mostExactFirst(a: CompiledRule, b: CompiledRule): number {
  return b.match.specificity - a.match.specificity || (a.source.name < b.source.name ? -1 : 1)
}

function hasAllowGrant(rule: CompiledRule, operation: Operation): boolean {
  return rule.grants.some((grant) => !grant.denies && grant.operations.has(operation))
}

function denialOf(rule: CompiledRule, grant: CompiledGrant, operation: Operation): AccessDecision {
  const explanation = deniedMessage(rule.source, { operation, grant: grant.source })
  return { allowed: false, rule: rule.source.name, reason: 'denied', explanation }
}
