// Builds resources for tests, with default values for the fields that a test does not set.
import { compileTenant, type CompileInput } from './tenant.js'
import type { TenantPolicy } from '../tenant/policy.js'
import { fieldPathText } from '../resources/problem.js'
import { ChatPlan } from '../resources/chat-plan.js'
import { ChatTenant } from '../resources/chat-tenant.js'
import { apiVersion } from '../resources/common.js'

export function planOf(spec: object): ChatPlan {
  return ChatPlan.parse({ apiVersion, kind: 'ChatPlan', metadata: { name: 'free' }, spec })
}

export function tenantOf(spec: object): ChatTenant {
  const metadata = { name: 'acme', namespace: 'demo' }
  return ChatTenant.parse({
    apiVersion,
    kind: 'ChatTenant',
    metadata,
    spec: { planRef: { name: 'free' }, ...spec },
  })
}

/** Compiles `spec` with an empty plan and without Secrets. */
function compileSpec(spec: object, input: Partial<CompileInput> = {}): ReturnType<typeof compileTenant> {
  return compileTenant({
    tenant: tenantOf(spec),
    plan: planOf({}),
    tenantId: 't1',
    secret: () => undefined,
    ...input,
  })
}

export function policyOf(spec: object, input: Partial<CompileInput> = {}): TenantPolicy {
  const compiled = compileSpec(spec, input)
  if ('policy' in compiled) return compiled.policy
  throw new Error(compiled.problems.map(({ message }) => message).join('\n'))
}

/** Returns `reason path: message` of each problem. */
export function problemsOf(spec: object, input: Partial<CompileInput> = {}): string[] {
  const compiled = compileSpec(spec, input)
  if ('policy' in compiled) return []
  return compiled.problems.map(({ reason, path, message }) => `${reason} ${fieldPathText(path)}: ${message}`)
}
