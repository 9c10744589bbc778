// ChatPlan: what a platform team offers to tenants. Cluster-scoped; tenants name it in `spec.planRef`.
import { z } from 'zod'
import { PlanLimits } from './schema-limits.js'
import { resource, StringMap } from './schema.js'

/** As Kubernetes selects by labels everywhere: all of it must hold. */
export const LabelSelector = z.strictObject({
  matchLabels: StringMap.optional().describe('Labels that must be there with these values.'),
  matchExpressions: z
    .array(
      z
        .strictObject({
          key: z.string().max(317).describe('Name of the label.'),
          operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('How the label is compared.'),
          values: z.array(z.string().max(63)).max(64).optional().describe('For In and NotIn: the values.'),
        })
        .superRefine(({ operator, values = [] }, context) => {
          const wantsValues = operator === 'In' || operator === 'NotIn'
          if (wantsValues === values.length > 0) return
          const message = wantsValues
            ? `${operator} needs at least one value.`
            : `${operator} takes no values.`
          context.addIssue({ code: 'custom', path: ['values'], message })
        }),
    )
    .max(16)
    .optional()
    .describe('Comparisons that must all hold.'),
})
export type LabelSelector = z.output<typeof LabelSelector>

export const ChatPlanSpec = z.strictObject({
  limits: PlanLimits.prefault({}).describe('What each tenant on this plan gets.'),
  enforcement: z
    .enum(['Enforce', 'Warn', 'DryRun'])
    .default('Enforce')
    .describe(
      'What happens above a limit. Enforce refuses; Warn lets pass, counts and logs; DryRun lets pass and counts.',
    ),
  preemption: z
    .enum(['Never', 'ShedNewest', 'ShedIdle'])
    .default('Never')
    .describe(
      'What happens to connections above a lowered limit. Never leaves them and refuses new ones; the others close the newest, or those idle longest.',
    ),
  allowedNamespaces: z
    .strictObject({
      from: z
        .enum(['All', 'Selector', 'None'])
        .default('All')
        .describe('Namespaces whose tenants may use the plan.'),
      selector: LabelSelector.optional().describe('For Selector: labels of those namespaces.'),
    })
    .superRefine(({ from, selector }, context) => {
      if ((from === 'Selector') === (selector !== undefined)) return
      const message =
        from === 'Selector'
          ? 'From: Selector needs a selector.'
          : 'A selector counts only with from: Selector.'
      context.addIssue({ code: 'custom', path: ['selector'], message })
    })
    .prefault({})
    .describe('Who may use the plan.'),
})

export const ChatPlan = resource('ChatPlan', ChatPlanSpec)
export type ChatPlan = z.output<typeof ChatPlan>
