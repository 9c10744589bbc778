// Decides who may do what on which channel. Every publish is checked here, so rules are compiled once and a
// decision allocates almost nothing.
import { deniedMessage, noGrantMessage, noRuleMessage } from './denial-message.js'
import { compileMatch, type ChannelMatch } from './channel-match.js'
import { claimAt, claimTexts, type Claims } from './claims.js'
import type { ChannelRule, Grant, Operation, Subject } from './policy.js'

/**
 * The client that requests an operation. A guest is `anonymous` and its user is `guest:<id>`; its
 * roles and claims are ignored.
 */
export interface AclSubject {
  readonly user: string
  readonly anonymous: boolean
  readonly roles: readonly string[]
  readonly claims: Claims
}

/**
 * The result of one access check. `noRule`: no rule covers the channel for any subject. `noGrant`: `rule`
 * covers the channel and grants the subject nothing. `denied`: a Deny grant of `rule` forbids the operation.
 * `message` is a sentence for people: it may name roles and claim names that would help, but never users or
 * claim values.
 */
export type AccessDecision =
  | { readonly allowed: true; readonly rule: string }
  | {
      readonly allowed: false
      readonly rule?: string
      readonly reason: 'noRule' | 'noGrant' | 'denied'
      readonly message: string
    }

/** The behaviour of a channel, for every client. `durability` is undefined for the broker's default. */
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
  /** Created once and returned for every allowed operation. */
  readonly allowed: AccessDecision
}

interface CompiledGrant {
  readonly source: Grant
  readonly denies: boolean
  readonly operations: ReadonlySet<Operation>
  readonly subjects: readonly ((subject: AclSubject) => boolean)[]
}

/**
 * The channel rules of one tenant. The grants of all matching rules are combined, a Deny overrides every
 * Allow, and an operation that no grant allows is refused.
 */
export class ChannelRules {
  readonly #literals = new Map<string, CompiledRule[]>()
  readonly #others: CompiledRule[] = []

  /** `match` of each rule must have passed `matchProblem`. */
  constructor(rules: readonly ChannelRule[]) {
    for (const rule of rules.map(compileRule).toSorted(mostSpecificFirst)) {
      const { type, value } = rule.source.match
      if (type !== 'Literal') this.#others.push(rule)
      else if (!this.#literals.get(value)?.push(rule)) this.#literals.set(value, [rule])
    }
  }

  /** Decides whether `subject` may perform `operation` on `channel`. */
  decide(subject: AclSubject, operation: Operation, channel: string): AccessDecision {
    let allowing: CompiledRule | undefined
    for (const rules of [this.#literals.get(channel) ?? noRules, this.#others]) {
      for (const rule of rules) {
        if (!rule.match.matches(channel, subject)) continue
        for (const grant of rule.grants) {
          // A second Allow changes nothing, but a later Deny still does.
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

  /**
   * Returns the settings of the most specific rule that covers `channel` for any subject; of equally specific
   * rules, the first by name. Returns undefined when no rule covers it.
   */
  settings(channel: string): ChannelSettings | undefined {
    return this.#mostSpecific(channel, (rule) => rule.match.matchesAnySubject(channel))?.settings
  }

  #refusal(subject: AclSubject, operation: Operation, channel: string): AccessDecision {
    const covering =
      this.#mostSpecific(
        channel,
        (rule) => rule.match.matches(channel, subject) && hasAllowGrant(rule, operation),
      ) ??
      this.#mostSpecific(channel, (rule) => rule.match.matches(channel, subject)) ??
      this.#mostSpecific(channel, (rule) => rule.match.matchesAnySubject(channel))
    if (!covering) return { allowed: false, reason: 'noRule', message: noRuleMessage(channel) }
    const matchesSubject = covering.match.matches(channel, subject)
    const message = noGrantMessage(covering.source, { operation, channel, matchesSubject })
    return { allowed: false, rule: covering.source.name, reason: 'noGrant', message }
  }

  #mostSpecific(channel: string, covers: (rule: CompiledRule) => boolean): CompiledRule | undefined {
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

/** All fields must match (AND). A subject without fields matches no one, not everyone. */
function compileSubject(spec: Subject): (subject: AclSubject) => boolean {
  const users = spec.users && new Set(spec.users)
  const roles = spec.roles && new Set(spec.roles)
  const claims = Object.entries(spec.claims ?? {}).map(([path, values]) => ({
    path,
    values: new Set(values),
  }))
  const needsToken =
    users !== undefined || roles !== undefined || claims.length > 0 || spec.authenticated === true

  // `anonymous` beside another field requires a guest with a token, which does not exist.
  if (spec.anonymous) return (subject) => subject.anonymous && !needsToken

  return (subject) =>
    needsToken &&
    !subject.anonymous &&
    (users === undefined || users.has(subject.user)) &&
    (roles === undefined || subject.roles.some((role) => roles.has(role))) &&
    claims.every(({ path, values }) =>
      claimTexts(claimAt(subject.claims, path)).some((text) => values.has(text)),
    )
}

function mostSpecificFirst(a: CompiledRule, b: CompiledRule): number {
  return b.match.specificity - a.match.specificity || (a.source.name < b.source.name ? -1 : 1)
}

function hasAllowGrant(rule: CompiledRule, operation: Operation): boolean {
  return rule.grants.some((grant) => !grant.denies && grant.operations.has(operation))
}

function denialOf(rule: CompiledRule, grant: CompiledGrant, operation: Operation): AccessDecision {
  const message = deniedMessage(rule.source, { operation, grant: grant.source })
  return { allowed: false, rule: rule.source.name, reason: 'denied', message }
}
