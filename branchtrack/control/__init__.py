"""Both ends of the channel between people and a training process: requests, answers, launches.

The requesting end validates against the run's own declarations, stores, and waits for the answer.
The training end polls, answers and reports that it is alive. It knows no trainer, page or shell.
"""

from branchtrack.control.cancellation import cancel_launch as cancel_launch
from branchtrack.control.cancellation import wait_for_end as wait_for_end
from branchtrack.control.continuation import continue_branch as continue_branch
from branchtrack.control.continuation import retry as retry
from branchtrack.control.deletion import delete as delete
from branchtrack.control.deletion import restore as restore
from branchtrack.control.fan_out import ForkOrder as ForkOrder
from branchtrack.control.fan_out import create_launches as create_launches
from branchtrack.control.inbox import expire_hanging as expire_hanging
from branchtrack.control.inbox import expire_unanswered as expire_unanswered
from branchtrack.control.inbox import poll as poll
from branchtrack.control.labels import label as label
from branchtrack.control.launch import create_launch as create_launch
from branchtrack.control.launch_checks import describe_missing as describe_missing
from branchtrack.control.launch_checks import describe_way_to_start as describe_way_to_start
from branchtrack.control.launch_preview import preview_launches as preview_launches
from branchtrack.control.launch_settings import MODES as MODES
from branchtrack.control.launch_settings import check_here as check_here
from branchtrack.control.launch_settings import check_parts as check_parts
from branchtrack.control.launch_settings import default_mode as default_mode
from branchtrack.control.launch_settings import mode_in_force as mode_in_force
from branchtrack.control.launch_settings import resume_settings as resume_settings
from branchtrack.control.launch_settings import validate_launch as validate_launch
from branchtrack.control.launch_settings import validate_overrides as validate_overrides
from branchtrack.control.merging import PlannedMerge as PlannedMerge
from branchtrack.control.merging import plan_merge as plan_merge
from branchtrack.control.proposals.deciding import approve as approve
from branchtrack.control.proposals.deciding import decline as decline
from branchtrack.control.proposals.proposing import expire_overdue as expire_overdue
from branchtrack.control.proposals.proposing import propose_fork as propose_fork
from branchtrack.control.refusals import count_refusals as count_refusals
from branchtrack.control.replays.sending import Sent as Sent
from branchtrack.control.replays.sending import check_replay as check_replay
from branchtrack.control.replays.sending import launch_replay as launch_replay
from branchtrack.control.replays.sending import send_replay as send_replay
from branchtrack.control.request_checks import live_segment as live_segment
from branchtrack.control.submission import cancel as cancel
from branchtrack.control.submission import preview as preview
from branchtrack.control.submission import submit as submit
from branchtrack.control.text import clean_text as clean_text
from branchtrack.control.text import local_actor as local_actor
from branchtrack.control.text import shortened as shortened
from branchtrack.control.verification import node_verdict as node_verdict
from branchtrack.control.verification import verify_node as verify_node
from branchtrack.control.verification import verify_record as verify_record
from branchtrack.control.verification import verify_state as verify_state
from branchtrack.control.wait import wait as wait
