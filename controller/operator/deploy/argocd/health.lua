-- What Argo CD shows of an App or a Target, from the conditions in its status: the script of
-- `resource.customizations.health.portolan.dev_App` and `..._Target` in the ConfigMap argocd-cm.
-- Argo CD calls it with the object in `obj`; it is Lua 5.1, and nothing of its libraries is used but `ipairs`.
local health = { status = "Progressing", message = "it has had no turn yet" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local none = { status = "Unknown", reason = "", message = "" }
local ready = conditions.Ready or none
local reconciling = conditions.Reconciling or none
local stalled = conditions.Stalled or none

local function is(status, condition)
  health.status = status
  health.message = condition.message
  if condition.message == nil or condition.message == "" then
    health.message = condition.reason
  end
  return health
end

-- Whoever asked for it has to end it, also while a newer generation waits.
if reconciling.reason == "Suspended" then
  return is("Suspended", reconciling)
end
local observed = obj.status.observedGeneration
if observed ~= nil and obj.metadata.generation ~= nil and observed ~= obj.metadata.generation then
  health.message = "the newest generation was not looked at yet"
  return health
end
-- A yes, or a promotion, is somebody's to give.
for _, condition in ipairs({ reconciling, ready }) do
  if condition.reason == "AwaitingApproval" or condition.reason == "RolloutPaused" then
    return is("Suspended", condition)
  end
end
if stalled.status == "True" then
  return is("Degraded", stalled)
end
if reconciling.status == "True" then
  return is("Progressing", reconciling)
end
if ready.status == "True" then
  return is("Healthy", ready)
end
return is("Progressing", ready)
